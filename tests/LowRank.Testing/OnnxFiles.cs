namespace LowRank.Testing;

/// <summary>The tiny ONNX models of the golden case, with the interfaces of real ones.</summary>
public static class OnnxFiles
{
    public static string Tagger => At("tagger.onnx");
    public static string Segmenter => At("segmenter.onnx");
    public static string Encoder => At("captioner-encoder.onnx");
    public static string Decoder => At("captioner-decoder.onnx");
    public static string Vocabulary => At("captioner-vocab.txt");

    private static string At(string name) => Path.Combine(Repository.Root, "tests", "fixtures", "images", "onnx", name);
}
