"""Networks that read images, for labels of the image and for masks and values of its pixels; one a file."""
