"""The kernel of the search: values, protocols, the one loop and the Pareto front."""
