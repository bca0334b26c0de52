"""Practice: the production templates against an emulator of AWS, with what it can prove told apart from what not."""
