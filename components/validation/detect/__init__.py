"""Detectors of faults in texts: whole columns in, one finding a row out."""
