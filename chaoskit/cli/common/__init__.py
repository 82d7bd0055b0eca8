"""What commands share: files that users name, progress, outcomes, drafts."""
