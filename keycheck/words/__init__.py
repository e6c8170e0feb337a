"""The words that people read: issue.py, message.py, lines.py, and parts.py of which they are made. Pure."""
