"""Results of tasks that ended long ago, as files: read, understood, and told as records.

`files` reads JSON and knows lines, `own` knows the results that we print, `others` those of other programs.
"""
