"""What every room uses: errors, files, progress, processes. It imports nothing of the project."""
