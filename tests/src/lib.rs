//! Real-process tests, the model, benchmarks.
