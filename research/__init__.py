"""What the study needs and the app does not: it is not installed with the package."""
