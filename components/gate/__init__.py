"""The verdict: may the file to ship become champion?"""
