"""Running a pipeline of datatrove's on one machine or many: tasks that a kill does not undo."""
