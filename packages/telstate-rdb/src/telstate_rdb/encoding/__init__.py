"""From values to bytes, each layer usable by itself; knows nothing of files.

=============  ==============================================================================
`strings`      lengths and strings
`lzf`          LZF compression
`packed`       ziplists, listpacks and intsets
`streams`      streams
`values`       values: which form each gets in which version, by table
=============  ==============================================================================
"""
