"""Networks that read the series of one pixel; one architecture a file."""
