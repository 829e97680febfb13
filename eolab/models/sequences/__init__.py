"""Networks that read sequences of images of one place by several sensors; one architecture a file."""
