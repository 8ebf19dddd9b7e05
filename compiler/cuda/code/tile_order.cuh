// The order of tiles: for `together` tiles of tokens all rows are done before the next, so that they stay in the L2.
struct Order {
    int row_tiles, token_tiles, together;

    __device__ __forceinline__ int count() const { return row_tiles * token_tiles; }

    __device__ __forceinline__ void find(int tile, int &row_tile, int &token_tile) const {
        const int first = tile / (together * row_tiles) * together, width = min(together, token_tiles - first);
        const int within = tile - first * row_tiles;
        row_tile = within / width, token_tile = first + within % width;
    }
};
