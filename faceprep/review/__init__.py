"""A page to accept or refuse a plan's decisions; writes the plan, and nothing else that anyone else reads.

review           the command
session          the plan while it is reviewed: versions, undo, what is on disk when
thresholds       where a plan's threshold lies
gallery          which images show what a decision is about, and that they are the source's
thumbnails       small pictures, made once
app, server      the page on 127.0.0.1: what is asked for and by whom; HTTP
static_pages     the same as a folder of files
page/            HTML, CSS and JavaScript
"""
