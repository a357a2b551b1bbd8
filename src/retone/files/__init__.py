"""Files that appear complete or not at all, and JSON that is read with exact error messages."""
