"""The report: one file for a browser that shows what a model is, how good it is, and each photo with its votes."""
