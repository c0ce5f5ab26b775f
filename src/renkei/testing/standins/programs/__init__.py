"""The programs themselves; they start on their own and import nothing of renkei."""
