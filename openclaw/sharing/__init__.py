"""Requests that are sent more than once, and runs that several requests share."""
