"""Personal data and secrets in text: found by detectors, replaced by what they were, such as `[email]`.

Nothing is imported here: to compile every detector's patterns takes longer than many commands do.
"""
