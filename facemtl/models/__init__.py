"""The models: backbones, FaceModel, and the file that one is kept in."""

FACE_RESNET = "face-resnet"  # the backbone whose weights come with the code
