"""What happens across hosts: fan-out, live view, run records, recap."""
