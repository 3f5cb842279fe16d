//! Trains the encoder-decoder of Vaswani et al. (2017), keeping checkpoints that can be watched.
