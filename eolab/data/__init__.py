"""Data: catalogue, readers, class schemes, indices, preprocessing, splits and the sample store; no Keras here."""
