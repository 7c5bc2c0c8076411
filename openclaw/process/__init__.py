"""The process around a gateway: its signals and its end, its clock, its memory."""
