"""Faces with labels: UTKFace or your own, as one table of images."""
