"""Who is watched and how much memory it uses: the only room that reads /proc for samples."""
