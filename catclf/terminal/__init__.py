"""What people see on a terminal: streams, style, progress and small charts; the door to rich."""
