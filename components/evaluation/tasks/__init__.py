"""One file a task: what is asked, and what is measured. All of them: `named`."""
