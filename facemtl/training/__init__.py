"""Training with fastai: from a TrainConfig to a model file.

Images are decoded and resized once. Batches are slices of that one array and are augmented on the
device. All randomness depends only on (seed, epoch), so a resumed run equals an uninterrupted one.
"""
