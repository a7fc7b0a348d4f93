"""``python -m backends.doctor``: is what the settings name there, and fit for its task?"""
