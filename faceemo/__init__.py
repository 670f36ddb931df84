"""faceemo: from archives of labelled face photos to an emotion classifier that holds on people it has never seen."""
