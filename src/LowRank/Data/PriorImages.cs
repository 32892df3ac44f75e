namespace LowRank.Data;

/// <summary>Prior (regularisation) pictures beside training pictures: as many of them as of the others, all repeats counted.</summary>
internal static class PriorImages
{
    /// <summary>
    /// How often each prior picture is used. In the order given they are taken with their own repeats until they are as many as the training pictures
    /// (the rest is left out), then round and round once more each, until they are. As in sd-scripts (library/train_util.py, <c>DreamBoothDataset</c>).
    /// </summary>
    /// <param name="trainingPictures">Training pictures with repeats.</param>
    /// <param name="repeats">Own repeats of every prior picture, in order.</param>
    /// <returns>Repeats of every prior picture; 0: left out.</returns>
    public static int[] Balance(int trainingPictures, IReadOnlyList<int> repeats)
    {
        var used = new int[repeats.Count];
        var total = 0;
        for (var i = 0; i < used.Length && total < trainingPictures; i++) total += used[i] = repeats[i];
        for (var i = 0; used.Length > 0 && total < trainingPictures; i = (i + 1) % used.Length, total++) used[i]++;
        return used;
    }
}
