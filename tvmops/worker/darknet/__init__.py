"""Networks of darknet (cfg + weights), read without darknet and written as ONNX."""
