"""Leaked secrets: found in any text, judged, and taken as signed reports from those who scan public places."""
