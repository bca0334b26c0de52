"""Where documents come from by themselves: folders, feeds, pages, buckets, mail, chats."""
