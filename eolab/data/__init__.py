"""Data: catalogue, layouts, class schemes, indices, preprocessing, splits and the sample store, no Keras."""
