"""Labels of samples: which are likely to be right."""
