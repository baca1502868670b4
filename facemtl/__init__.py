"""Three single-task models and one multi-task model look at the same face.

The modules, in reading order; each imports only from those above it:

    errors        FaceMTLError, whose message is meant for the user
    places        where the shipped files lie, in a checkout and once installed
    tables        CSV files that are written whole, and whose damage is said in plain words
    tasks         Classification and Regression: all that differs between gender, race and age
    own_faces     a CSV file of one's own faces -> paths and labels
    data          UTKFace: download, file names -> DataFrame, copies, split, decoded images; the same for one's own faces
    description   what is in UTKFace, as counts that may be passed on
    faces         a photo -> the faces in it, each with the aligned crop that the models see
    models        FaceModel: one backbone, one head per task; the .onnx file that it is kept in
    inference     Predictor: crops -> the predictions table that everything else reads; batches; occlusion and steadiness
    evaluation    predictions -> metric tables with bootstrap intervals
    seeds         the same over several seeds: intervals that count seeds and images
    composites    a cache of the predictions for the composites
    studies       what the trainings of the studies came to
    robustness    robustness to shifted, scaled, rotated or degraded crops
    label_noise   what the models say of the labels
    cost          what an answer costs: parameters, multiply-adds, milliseconds
    speed         what was measured of speed -> words and tables
    report        measured tables -> the tables of README and model card
    plots         tables -> plotly figures
    training      TrainConfig -> a model file, with fastai
    bench         how long things take on this machine
    ui            the Gradio app, one file per tab
    serve         the app at an address
    cli           python -m facemtl download | train | evaluate | predict | app ...
"""

import os

__version__ = "0.1.0"

# ONNX Runtime would report each start to Microsoft, and write an identifier of this machine into the user's cache.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when it is first imported
