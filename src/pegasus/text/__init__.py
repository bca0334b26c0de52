"""Pure functions over text and the light formats: no store, no framework, no state."""
