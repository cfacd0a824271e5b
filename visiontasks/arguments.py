"""The types that annotate the arguments of parts: what a recipe may say, and what a constructor checks."""

Share = float  # from 0 to below 1; parts check it themselves too, for the Keras API
