"""What people see on a terminal: streams, style, progress, charts and pages; the door to rich."""
