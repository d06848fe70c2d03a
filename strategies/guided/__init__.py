"""Guided search: screens many candidates for nothing, trains those that promise most.

`strategy` is the whole; `codes` makes candidates, `screened` knows what is known of them before
training, `surrogate` predicts the rest from what was trained, `improvement` says what a candidate
is expected to add to the front.
"""
