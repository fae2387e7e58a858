"""Everything that depends on how Keras works inside. `docs/architecture.md` lists the workarounds and their tests."""
