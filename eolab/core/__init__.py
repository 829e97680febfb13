"""What every room stands on: errors, files, progress, and where a project's files live."""
