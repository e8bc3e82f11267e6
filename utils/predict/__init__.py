"""One image to class probabilities.

The path of an image through ``predictor.Predictor.predict``. Each line names the code that draws the arrow::

    image   -> plans    windows.plan_scale, windows.plan_axis: windows and their weights, for every scale
    plan    -> strip    predictor.Predictor._strip, resample.scaled_rows: normalised pixels of one row of windows
    strip   -> windows  predictor.Predictor._predict_row, options.Symmetry.apply: batches of one symmetry each
    windows -> logits   predictor.Predictor._forward: the network, at its own resolution
    logits  -> rows     window_logits.WindowLogits, rows.RowAccumulator.add: kept coarse, or added to a buffer
    rows    -> bands    rows.RowAccumulator.complete, window_logits.add_windows: interpolation and softmax
    bands   -> mask     scores.argmax_classes: the best class of every pixel
"""
