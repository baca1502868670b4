"""The models: backbones, FaceModel and model files."""

FACE_RESNET = "face-resnet"  # the backbone whose weights ship with the code
