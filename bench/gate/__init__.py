"""The regression gate simulated: how often it errs, and what it finds."""
