"""What the project claims about speed and overhead, as commands that anyone can run again."""
