"""The rooms of evaluate.py: cells of work, what is drawn, how it is judged, what is shown."""
