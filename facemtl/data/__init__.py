"""Labelled faces: UTKFace or your own, as one table of images."""
