"""TrainConfig -> a model file, with fastai.

Images are decoded and resized once; batches are slices of one array, augmented together on the
device. Everything random follows from (seed, epoch), so a resumed run equals an uninterrupted one.
"""
